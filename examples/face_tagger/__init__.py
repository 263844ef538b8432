"""A face-tagging service that asks Consentry before every step on a face."""
