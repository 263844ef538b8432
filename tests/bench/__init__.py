"""Speed, as ratios against an empty unary call on the same server in the same run."""
