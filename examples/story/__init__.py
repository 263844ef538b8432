"""The demo's story: who takes part, how it is told, and its chapters."""
