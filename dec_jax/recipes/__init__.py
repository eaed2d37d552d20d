"""Named recipes: all settings of a published method, for data of any shape."""
