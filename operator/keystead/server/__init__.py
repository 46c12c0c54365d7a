"""The AWS front door: HTTP, SigV4, the JSON protocol of AWS KMS, the query protocol of STS. The only user of the web framework."""
