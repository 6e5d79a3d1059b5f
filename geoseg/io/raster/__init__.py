"""Read scenes; write and read maps."""
