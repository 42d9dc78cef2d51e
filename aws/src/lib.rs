//! What neartime asks of Amazon Web Services: S3, SQS and Kinesis.
