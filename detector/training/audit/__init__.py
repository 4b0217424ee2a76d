"""What a figure is worth: contenders that see no lung, maps, candidates."""
