package protocol

import "fmt"

// CheckRequest walks the body of a request of kmsg's and refuses what cannot be decoded within limit bytes of memory.
//
// Errors: ErrMalformed, ErrTooLarge, ErrUnknownAPI, ErrUnsupportedVersion.
func CheckRequest(key, version int16, body []byte, limit int) error {
	api, ok := Lookup(key)
	switch {
	case !ok:
		return fmt.Errorf("%w: %d", ErrUnknownAPI, key)
	case !api.Advertises(version):
		return fmt.Errorf("%w: %s v%d", ErrUnsupportedVersion, api.Name, version)
	case len(body) > limit:
		return fmt.Errorf("%w: %s of %d bytes", ErrTooLarge, api.Name, len(body))
	}
	return nil
}
