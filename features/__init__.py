"""Features, defined once: contracts, aggregates, row features, the feature set, their stores and ingestion."""
