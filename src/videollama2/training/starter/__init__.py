"""The starter's own training: from nothing, on the made world, on a CPU or a GPU, seeded."""
