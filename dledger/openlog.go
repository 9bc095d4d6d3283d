package dledger

import (
	"sync/atomic"

	"github.com/stelemq/stele/commitlog"
	"github.com/stelemq/stele/protocol/record"
)

// openLog is the log that a replica has open. It is replaced as a whole when the replica has caught up from another's files;
// readers that still hold the old one are told that it is closed.
type openLog struct{ p atomic.Pointer[commitlog.Log] }

func newOpenLog(l *commitlog.Log) *openLog {
	o := &openLog{}
	o.p.Store(l)
	return o
}

func (o *openLog) now() *commitlog.Log { return o.p.Load() }

func (o *openLog) End() commitlog.End                { return o.now().End() }
func (o *openLog) LogStart() record.Offset           { return o.now().LogStart() }
func (o *openLog) Segments() []commitlog.SegmentInfo { return o.now().Segments() }
func (o *openLog) Size() int64                       { return o.now().Size() }
func (o *openLog) LatestEpoch() record.LeaderEpoch   { return o.now().LatestEpoch() }
func (o *openLog) Append(es []commitlog.Entry) error { return o.now().Append(es) } //nolint:wrapcheck // forwarded
func (o *openLog) Sync() error                       { return o.now().Sync() }     //nolint:wrapcheck // forwarded
func (o *openLog) Close() error                      { return o.now().Close() }    //nolint:wrapcheck // forwarded
func (o *openLog) SetConfig(c commitlog.Config)      { o.now().SetConfig(c) }
func (o *openLog) TruncateTo(to record.Offset) error { return o.now().TruncateTo(to) } //nolint:wrapcheck // forwarded
func (o *openLog) Producers() []commitlog.Producer   { return o.now().Producers() }
func (o *openLog) Epochs() []commitlog.EpochStart    { return o.now().Epochs() }
func (o *openLog) AppendStored(dst []byte, e *commitlog.Entry) []byte {
	return o.now().AppendStored(dst, e)
}

func (o *openLog) ProducerEntry(id int64) (commitlog.Producer, bool) {
	return o.now().ProducerEntry(id)
}

func (o *openLog) AssignEpoch(e record.LeaderEpoch, start record.Offset) error {
	return o.now().AssignEpoch(e, start) //nolint:wrapcheck // forwarded
}

func (o *openLog) AdvanceLogStart(to record.Offset, why string) error {
	return o.now().AdvanceLogStart(to, why) //nolint:wrapcheck // forwarded
}

func (o *openLog) DeleteSegmentsBelow(to record.Offset) ([]record.Offset, error) {
	return o.now().DeleteSegmentsBelow(to) //nolint:wrapcheck // forwarded
}

func (o *openLog) ExpireProducers(before int64) ([]int64, error) {
	return o.now().ExpireProducers(before) //nolint:wrapcheck // forwarded
}

func (o *openLog) Read(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	return o.now().Read(dst, from, upTo, maxBytes, atLeastOne) //nolint:wrapcheck // forwarded
}

func (o *openLog) ReadRecords(dst []byte, from, upTo record.Offset, maxBytes int, atLeastOne bool) ([]byte, error) {
	return o.now().ReadRecords(dst, from, upTo, maxBytes, atLeastOne) //nolint:wrapcheck // forwarded
}

func (o *openLog) ReadAt(base record.Offset, pos int64, p []byte) error {
	return o.now().ReadAt(base, pos, p) //nolint:wrapcheck // forwarded
}

func (o *openLog) StateAt(at record.Offset) (commitlog.State, error) {
	return o.now().StateAt(at) //nolint:wrapcheck // forwarded
}

func (o *openLog) OffsetForTimestamp(ts int64, upTo record.Offset) (commitlog.TimestampOffset, error) {
	return o.now().OffsetForTimestamp(ts, upTo) //nolint:wrapcheck // forwarded
}

func (o *openLog) MaxTimestamp(upTo record.Offset) (commitlog.TimestampOffset, error) {
	return o.now().MaxTimestamp(upTo) //nolint:wrapcheck // forwarded
}

func (o *openLog) EndOffsetForEpoch(e record.LeaderEpoch) (record.LeaderEpoch, record.Offset, error) {
	return o.now().EndOffsetForEpoch(e) //nolint:wrapcheck // forwarded
}

func (o *openLog) EpochAt(at record.Offset) record.LeaderEpoch { return o.now().EpochAt(at) }
