"""Large arrays of results, in one Zarr group."""
