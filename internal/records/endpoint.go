package records

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// The kinds of an endpoint record.
const (
	KindNetns  = "netns"
	KindTap    = "tap"
	KindDevice = "device"
)

// DecodeEndpoint decodes a record that has passed Validate.
func DecodeEndpoint(r mesh.Record) (*Endpoint, error) { return decode(r.Payload, &Endpoint{}) }

func validateEndpoint(r mesh.Record) error {
	if _, _, _, err := SplitEndpointKey(r.Key); err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	if len(r.Payload) > maxEndpoint {
		return fmt.Errorf("endpoint %s: %d bytes: at most %d", r.Key, len(r.Payload), maxEndpoint)
	}
	e, err := decodeNew(r.Payload, &Endpoint{})
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", r.Key, err)
	}
	if err := e.Check(); err != nil {
		return fmt.Errorf("endpoint %s: %w", r.Key, err)
	}
	// Claims and announcements are made before they are written down. One from the future could never
	// be beaten by a later attach. A record without a version is yet to be
	// signed.
	if r.Version != 0 && e.GetClaim() > uint64(r.Version) {
		return fmt.Errorf("endpoint %s: claim %d: is later than the record's version %d", r.Key, e.GetClaim(), r.Version)
	}
	for _, a := range e.GetAnnounced() {
		if r.Version != 0 && a.GetVersion() > uint64(r.Version) {
			return fmt.Errorf("endpoint %s: announced %s at %d: is later than the record's version %d", r.Key, a.GetAddress(), a.GetVersion(), r.Version)
		}
	}
	return nil
}

// Restamp returns the payload of a record that gets an earlier version than it had:
// what it says of versions is no later.
func Restamp(r mesh.Record) ([]byte, error) {
	if r.Kind != mesh.KindEndpoint {
		return r.Payload, nil
	}
	e, err := DecodeEndpoint(r)
	if err != nil {
		return nil, err
	}
	e.Claim = min(e.GetClaim(), uint64(r.Version))
	for _, a := range e.GetAnnounced() {
		a.Version = min(a.GetVersion(), uint64(r.Version))
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode endpoint %s: %w", r.Key, err)
	}
	return payload, nil
}

// Check says what is wrong with an endpoint, whatever its VPC.
func (e *Endpoint) Check() error {
	if err := e.checkAddresses(); err != nil {
		return err
	}
	if e.GetMac() != "" {
		if _, err := ParseMAC(e.GetMac()); err != nil {
			return err
		}
	}
	if len(e.GetGroups()) > MaxGroups {
		return fmt.Errorf("%d groups: at most %d", len(e.GetGroups()), MaxGroups)
	}
	for _, g := range e.GetGroups() {
		if err := policy.ValidateName(g); err != nil {
			return fmt.Errorf("group: %w", err)
		}
	}
	if len(e.GetNetns()) > maxText {
		return fmt.Errorf("netns: path of %d bytes: at most %d", len(e.GetNetns()), maxText)
	}
	if len(e.GetProblem()) > maxText {
		return fmt.Errorf("problem: text of %d bytes: at most %d", len(e.GetProblem()), maxText)
	}
	return e.checkTarget()
}

func (e *Endpoint) checkTarget() error {
	switch e.GetKind() {
	case KindNetns:
		if !strings.HasPrefix(e.GetNetns(), "/") || strings.ContainsRune(e.GetNetns(), 0) {
			return fmt.Errorf("netns %q: want an absolute path", e.GetNetns())
		}
		if e.GetDevice() != "" {
			return errors.New("a netns endpoint names no device of the host")
		}
		return CheckInterfaceName(e.GetIfname())
	case KindTap, KindDevice:
		if e.GetNetns() != "" || e.GetIfname() != "" {
			return fmt.Errorf("a %s endpoint has no netns", e.GetKind())
		}
		return CheckInterfaceName(e.GetDevice())
	default:
		return fmt.Errorf("kind %q: want netns, tap or device", e.GetKind())
	}
}
