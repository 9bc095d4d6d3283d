// Package telemetry keeps the metrics that clients push (KIP-714). It is pure: time is passed in. What clients are asked for
// is decided by subscriptions (subscription.go); what they send is OpenTelemetry's format, of which numbers are read and
// histograms passed over (otlp.go); the newest values are kept, within bounds (store.go).
package telemetry
