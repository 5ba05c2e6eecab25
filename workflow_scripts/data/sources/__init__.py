"""Sources that are no FLARE-shaped folder: one module a kind yields records, `folder` lays them out as FLARE does."""
