"""What files say, as checked values: workflows, training files, model contracts, STAC scenes."""
