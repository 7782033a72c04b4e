"""One image file to what it shows of its own quality, measured on the pixels and read from the bytes around them."""
