"""Objects under keys, on a folder or in S3: the little that runs of several writers rest on."""
