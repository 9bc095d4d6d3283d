package record

// HeaderLen is the length in bytes of a RecordBatch v2 header, up to and including the record count.
const HeaderLen = 61

// Batch is a view of exactly one RecordBatch v2; it owns nothing.
type Batch []byte
