"""An S3 of this machine: moto's server as a process of its own, on a free port."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION, KEY_ID, SECRET = "us-east-1", "test", "test"
LISTENING = b"Running on "


@contextmanager
def serving_s3() -> Iterator[str]:
    """Serve until the block ends; the endpoint's URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if LISTENING in line:
                yield line.partition(LISTENING)[2].split()[0].decode()
                break
        else:
            raise AssertionError("moto's server did not start")
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()


def bucket(endpoint: str, name: str, prefix: str = "") -> S3Store:
    """A new bucket."""
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - slow, and only moto's bucket needs it

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket=name)
    client.close()
    return S3Store(
        name,
        prefix=prefix or None,
        endpoint=endpoint,
        region=REGION,
        access_key_id=KEY_ID,
        secret_access_key=SECRET,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": timedelta(seconds=10)},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=5)},
    )
