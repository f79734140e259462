"""What was asked and answered, in Parquet: to be replayed, watched for drift, and learnt from."""
