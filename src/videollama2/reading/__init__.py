"""Media read in processes apart: one that a hostile file takes down costs that file alone."""
