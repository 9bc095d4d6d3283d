package broker

import (
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stelemq/stele/broker/controller"
	"github.com/stelemq/stele/broker/metadata"
)

// partitionCollector reads the state of the cluster and of the partitions here when Prometheus asks. Series of single topics
// and partitions are topicSeries'.
type partitionCollector struct {
	b *Broker

	nodes, topics, partitions, offline     *prometheus.Desc
	replicas, underReplicated, underMinISR *prometheus.Desc
	maxLag, rtt, transportErrors           *prometheus.Desc
	metaLeader, build, ready               *prometheus.Desc
	metaVoters, metaLearners, metaWanted   *prometheus.Desc
}

func newPartitionCollector(b *Broker) *partitionCollector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(metricsPrefix, "", name), help, labels, nil)
	}
	return &partitionCollector{
		b:               b,
		nodes:           d("cluster_nodes", "Registered brokers: alive, fenced, draining or decommissioning.", "state"),
		topics:          d("cluster_topics", "Topics in the cluster."),
		partitions:      d("cluster_partitions", "Partitions in the cluster."),
		offline:         d("cluster_offline_partitions", "Partitions of the cluster of which this broker knows no leader that is alive; brokers agree but for delays."),
		replicas:        d("replica_partitions", "Replicas on this broker.", "role"),
		underReplicated: d("replica_under_replicated_partitions", "Partitions led here with fewer in-sync replicas than replicas."),
		underMinISR:     d("replica_under_min_isr_partitions", "Partitions led here with fewer in-sync replicas than min.insync.replicas."),
		maxLag:          d("replica_max_lag_records", "Records that a broker's replica lacks at most, over the partitions led here.", "peer"),
		rtt:             d("raft_peer_rtt_seconds", "Round trip of heartbeats to another broker, smoothed.", "peer"),
		transportErrors: d("raft_transport_errors_total", "Connections to another broker that broke or could not be made.", "peer"),
		metaLeader:      d("raft_is_leader", "1 where this broker leads the group.", "group"),
		metaVoters:      d("raft_voters", "Replicas of the group that vote; told by its leader.", "group"),
		metaLearners:    d("raft_learners", "Replicas of the group that follow without a vote; told by its leader.", "group"),
		metaWanted:      d("raft_voters_wanted", "Replicas of the group that should vote, by the number of brokers; told by its leader.", "group"),
		build:           d("build_info", "Always 1; the program's version.", "version", "revision", "goversion"),
		ready:           d("ready", "1 when /readyz says so."),
	}
}

// Describe implements prometheus.Collector.
func (c *partitionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.nodes, c.topics, c.partitions, c.offline,
		c.replicas, c.underReplicated, c.underMinISR, c.maxLag, c.rtt, c.transportErrors, c.metaLeader, c.build, c.ready,
		c.metaVoters, c.metaLearners, c.metaWanted,
	} {
		ch <- d
	}
}

type partitionCounts struct {
	leaders, followers, underReplicated, underMinISR int

	lags map[int32]int64
}

// Collect implements prometheus.Collector.
func (c *partitionCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	image := c.b.opts.Metadata.Image()
	for state, n := range nodeStates(image) {
		gauge(c.nodes, float64(n), state)
	}
	gauge(c.topics, float64(image.TopicCount()))
	gauge(c.partitions, float64(image.PartitionCount()))
	gauge(c.metaLeader, truth(c.b.opts.Host.IsController()), "meta")
	c.collectQuorum(image, gauge)
	gauge(c.build, 1, c.b.opts.Version, c.b.opts.Revision, runtime.Version())
	gauge(c.ready, truth(c.b.readiness().ready()))

	n := partitionCounts{lags: map[int32]int64{}}
	for _, t := range c.b.partitions.snapshot() {
		for _, p := range *t.partitions.Load() {
			if p != nil {
				collectPartition(p, &n)
			}
		}
	}
	gauge(c.offline, float64(c.b.offlinePartitions(image)))
	c.collectPeers(&n, gauge, ch)
	gauge(c.replicas, float64(n.leaders), "leader")
	gauge(c.replicas, float64(n.followers), "follower")
	gauge(c.underReplicated, float64(n.underReplicated))
	gauge(c.underMinISR, float64(n.underMinISR))
}

// collectQuorum tells who replicates the metadata, on the controller alone.
func (c *partitionCollector) collectQuorum(image *metadata.Image, gauge func(*prometheus.Desc, float64, ...string)) {
	members := c.b.quorumMembers.Load()
	if members == nil || !c.b.opts.Host.IsController() {
		return
	}
	voters := 0
	for _, m := range *members {
		if m.Voter {
			voters++
		}
	}
	gauge(c.metaVoters, float64(voters), "meta")
	gauge(c.metaLearners, float64(len(*members)-voters), "meta")
	gauge(c.metaWanted, float64(controller.Voters(image.Members())), "meta")
}

// nodeStates counts the brokers, each in one state.
func nodeStates(image *metadata.Image) map[string]int {
	states := map[string]int{"alive": 0, "fenced": 0, "draining": 0, "decommissioning": 0}
	for _, br := range image.Brokers() {
		switch {
		case br.Fenced:
			states["fenced"]++
		case br.State != metadata.NodeActive:
			states[string(br.State)]++
		default:
			states["alive"]++
		}
	}
	return states
}

// offlinePartitions counts those that nobody leads, by the newest that is known here.
func (b *Broker) offlinePartitions(image *metadata.Image) int {
	n := 0
	for t := range image.Topics() {
		local := b.partitions.topic(t.ID)
		for i := range t.Partitions {
			if b.standing(image, local, t, int32(i)).leader < 0 { //nolint:gosec // bounded by the metadata
				n++
			}
		}
	}
	return n
}

// collectPeers tells how it stands with the other brokers.
func (c *partitionCollector) collectPeers(n *partitionCounts, gauge func(*prometheus.Desc, float64, ...string), ch chan<- prometheus.Metric) {
	for node, lag := range n.lags {
		gauge(c.maxLag, float64(lag), strconv.Itoa(int(node)))
	}
	for node, rtt := range c.b.opts.Host.PeerRTT() {
		gauge(c.rtt, rtt.Seconds(), strconv.Itoa(int(node)))
	}
	if c.b.opts.Transport == nil {
		return
	}
	for _, p := range c.b.opts.Transport.Peers() {
		ch <- prometheus.MustNewConstMetric(c.transportErrors, prometheus.CounterValue, float64(p.Errors), strconv.Itoa(int(p.Node)))
	}
}

func collectPartition(p *partition, n *partitionCounts) {
	l := p.leadership()
	if !l.IsLeader {
		n.followers++
		return
	}
	n.leaders++
	if len(l.ISR) < len(l.Voters) {
		n.underReplicated++
	}
	if len(l.ISR) < p.topic.settings.Load().MinInSyncReplicas {
		n.underMinISR++
	}
	if log := p.open(); log != nil && len(l.Voters)+len(l.Learners) > 1 {
		for node, lag := range log.Lags() {
			n.lags[node] = max(n.lags[node], lag)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
