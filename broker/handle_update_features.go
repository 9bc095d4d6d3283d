package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/stelemq/stele/broker/metadata"
	"github.com/stelemq/stele/protocol"
)

// UpdateFeatures: v0-v2
//
// Behaviour: finalizes feature levels for the cluster, all of a request or none. What is asked for must be supported, and
// lower than before only where the request says so; metadata.version and kraft.version are never lowered.
//
// Version notes: v1 kinds of a downgrade and validation alone; v2 no results per feature.

const (
	featureUpgrade         = 1
	featureSafeDowngrade   = 2
	featureUnsafeDowngrade = 3
)

func (k *call) updateFeatures(req *kmsg.UpdateFeaturesRequest) kmsg.Response {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	image := k.b.opts.Metadata.Image()
	levels := map[string]int16{}
	var refused *metadata.Error
	failed := ""
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		if _, twice := levels[u.Feature]; twice {
			refused = &metadata.Error{Code: protocol.InvalidRequest, Message: fmt.Sprintf("Feature %s is named twice.", u.Feature)}
		} else if refused = checkFeature(image, u, req.Version); refused == nil {
			levels[u.Feature] = u.MaxVersionLevel
		}
		if refused != nil {
			failed = u.Feature
			break
		}
	}
	if refused == nil && !req.ValidateOnly && len(levels) > 0 {
		ctx, cancel := context.WithTimeout(k.ctx, requestTimeout(req.TimeoutMillis))
		defer cancel()
		if _, err := k.b.propose(ctx, &metadata.SetFeatures{Levels: levels}); err != nil {
			code, text := refusal(err)
			refused = &metadata.Error{Code: code, Message: *text}
		} else {
			k.b.log.Info("feature levels changed", "features", len(levels))
		}
	}
	if refused != nil {
		text := refused.Message
		if failed != "" {
			text = fmt.Sprintf("The update failed for all features since the following feature had an error: %s. %s", failed, refused.Message)
		}
		resp.ErrorCode, resp.ErrorMessage = k.code(refused.Code), &text
		return resp
	}
	if req.Version <= 1 {
		for i := range req.FeatureUpdates {
			resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: req.FeatureUpdates[i].Feature})
		}
	}
	return resp
}

// checkFeature says what is wrong with one update.
func checkFeature(image *metadata.Image, u *kmsg.UpdateFeaturesRequestFeatureUpdate, version int16) *metadata.Error {
	invalid := func(format string, args ...any) *metadata.Error {
		return &metadata.Error{
			Code:    protocol.InvalidUpdateVersion,
			Message: fmt.Sprintf("Invalid update version %d for feature %s. ", u.MaxVersionLevel, u.Feature) + fmt.Sprintf(format, args...),
		}
	}
	kind := u.UpgradeType
	if version == 0 {
		kind = featureUpgrade
		if u.AllowDowngrade {
			kind = featureSafeDowngrade
		}
	}
	if kind < featureUpgrade || kind > featureUnsafeDowngrade {
		return invalid("The controller does not support the given upgrade type.")
	}
	f := featureNamed(u.Feature)
	if f == nil {
		return invalid("The cluster does not support this feature.")
	}
	now := f.level(image)
	switch {
	case u.MaxVersionLevel < f.min || u.MaxVersionLevel > f.max:
		return invalid("The cluster only supports versions %d-%d.", f.min, f.max)
	case u.MaxVersionLevel > now && kind != featureUpgrade:
		return invalid("Can't downgrade to a newer version.")
	case u.MaxVersionLevel < now && kind == featureUpgrade:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case u.MaxVersionLevel < now && f.grows:
		return invalid("This feature cannot be downgraded.")
	}
	return nil
}
