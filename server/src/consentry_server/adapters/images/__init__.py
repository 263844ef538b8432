"""Images: masking faces."""
