"""The compiled protocol of the workers that run one row group together."""
