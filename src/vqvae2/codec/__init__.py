"""Images as files: their codes, bit for bit, in as few bytes as the priors say (`docs/bitstream.md`)."""
