"""Cases from tables: TSV, CSV, JSONL and Parquet, laid out as VLMEvalKit's are."""
