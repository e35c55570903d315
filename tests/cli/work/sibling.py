"""A module that stands beside the one that holds the functions."""


def doubled(value):
    return value * 2
