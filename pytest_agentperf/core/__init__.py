"""The nouns: values that every other layer uses; knows the standard library alone."""
