"""What a STAC item says of a scene: its assets, bands and labels."""
