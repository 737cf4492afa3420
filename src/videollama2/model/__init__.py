"""Tensors to tensors: configs, vision tower, connectors, BEATs, fusion, the whole model."""
