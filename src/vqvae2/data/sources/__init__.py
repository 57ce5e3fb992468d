"""Where images come from: folders, tar archives, Parquet files, data sets of the Hub, the built-in set."""
