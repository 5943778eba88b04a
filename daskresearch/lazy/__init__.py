"""A research as a Dask collection: its graph, and the tables that come of it."""
