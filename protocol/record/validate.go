package record

import "fmt"

// VerifyCRC compares the CRC in the header with the bytes.
//
// Errors: ErrCorrupt.
func (b Batch) VerifyCRC() error {
	if len(b) < HeaderLen {
		return fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if got, want := CRC(0, b[posAttributes:]), b.CRC(); got != want {
		return fmt.Errorf("%w: CRC %08x, header says %08x", ErrCorrupt, got, want)
	}
	return nil
}

// Validate is what a broker checks of a batch before it stores it, without touching the records: length, magic, CRC,
// codec, record count against the offsets, producer fields. It allocates nothing if the batch is valid. It does not hold for
// batches that compaction has rewritten: those have fewer records than offsets.
//
// Errors: ErrCorrupt, ErrMagic, ErrCodec, ErrInvalid.
func (b Batch) Validate() error {
	if len(b) < HeaderLen {
		return fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if b.Magic() != MagicV2 {
		return fmt.Errorf("%w: magic %d", ErrMagic, b.Magic())
	}
	if length := int(b.int32(posLength)); length != len(b)-lengthOverhead {
		return fmt.Errorf("%w: length %d in a batch of %d bytes", ErrCorrupt, length, len(b))
	}
	if err := b.VerifyCRC(); err != nil {
		return err
	}
	return b.validateFields()
}

// validateFields checks what the header says, once its bytes are known to be whole.
func (b Batch) validateFields() error {
	attr, count, delta := b.Attributes(), b.Count(), b.LastOffsetDelta()
	switch {
	case !attr.Codec().Known():
		return fmt.Errorf("%w: %d", ErrCodec, attr.Codec())
	case count <= 0:
		return fmt.Errorf("%w: %d records", ErrInvalid, count)
	case delta != count-1:
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrInvalid, count, delta)
	case attr.Codec() == None && int64(len(b.Payload())) < int64(count)*minRecordLen:
		return fmt.Errorf("%w: %d records in %d bytes", ErrInvalid, count, len(b.Payload()))
	}
	if !b.HasProducerID() {
		if attr.Transactional() {
			return fmt.Errorf("%w: transactional without a producer id", ErrInvalid)
		}
		return nil
	}
	switch {
	case b.ProducerEpoch() < 0:
		return fmt.Errorf("%w: producer id %d with epoch %d", ErrInvalid, b.ProducerID(), b.ProducerEpoch())
	case b.BaseSequence() < 0 && !attr.Control(): // markers carry the producer's id and no sequence
		return fmt.Errorf("%w: producer id %d with sequence %d", ErrInvalid, b.ProducerID(), b.BaseSequence())
	}
	return nil
}

// ValidateProduced checks what Validate does not because only batches of producers must keep it: base offset 0, no
// control batch, nothing that only a broker sets.
//
// Errors: ErrInvalid, ErrTimestampType.
func (b Batch) ValidateProduced() error {
	attr := b.Attributes()
	switch {
	case attr.Control():
		return fmt.Errorf("%w: producers may not write control batches", ErrInvalid)
	case attr.DeleteHorizon():
		return fmt.Errorf("%w: producers may not set a delete horizon", ErrInvalid)
	case b.BaseOffset() != 0:
		return fmt.Errorf("%w: base offset %d, must be 0", ErrInvalid, b.BaseOffset())
	case attr.LogAppendTime():
		return ErrTimestampType
	}
	return nil
}
