package mesh

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// The ports that a mesh uses on the underlay if nothing else is configured.
const (
	// DefaultGossipPort is for memberlist, UDP and TCP.
	DefaultGossipPort = 7946
	// DefaultPeerPort is for the peer API, TCP.
	DefaultPeerPort = 7947
)

// Config is what a Mesh is opened with.
type Config struct {
	// StateDir holds the node's key, its records and, on an authority, the key
	// of the mesh. It is made if it is not there.
	StateDir string
	// Name is the node's name, a DNS label. In a mesh the name in the
	// certificate counts.
	Name string
	// Version is that of the program, at most 64 bytes.
	Version string
	// Links are the underlay addresses, 1 to 16. Gossip uses the first, the
	// peer API listens on all.
	Links []Link
	// GossipPort and PeerPort are the defaults if 0.
	GossipPort, PeerPort uint16
	// Profile says how soon nodes that are gone are noticed; ProfileWAN if empty.
	Profile Profile
	// CertificateLife is how long the certificates are valid that this node issues,
	// as an authority: DefaultCertificateLife if 0, at most MaxCertificateLife.
	CertificateLife time.Duration
	// Logger is where to log, nowhere if nil.
	Logger *slog.Logger
	// Validate refuses records whose payload is no good, before they are stored
	// or passed on. It is called for all live records but nodes, by several
	// goroutines, and must be fast. It may be nil.
	Validate func(Record) error
	// Restamp returns the payload for a record of this node that gets an earlier
	// version, since its clock was wrong: for those that have versions in their
	// payloads. It may be nil.
	Restamp func(Record) ([]byte, error)
	// PeerHandler serves what other nodes ask besides the mesh's own paths.
	// PeerFromContext tells it who asks. It may be nil.
	PeerHandler http.Handler
	// Admitted is told of each node that this one, as an authority, has admitted, and
	// where it asked from. It may be nil.
	Admitted func(n Node, from string)
	// Network is the underlay, the host's own if nil.
	Network Network
	// Now is the wall clock, time.Now if nil: a simulation gives each node one of
	// its own. It is called by several goroutines.
	Now func() time.Time

	// Shared is what this node has in common with others of its process, nil but in
	// a simulation of many nodes.
	Shared *Shared

	// strangerLife is how long a connection of a caller without a certificate
	// lasts, the constant if 0.
	strangerLife time.Duration
	// backupWork is the binary logarithm of what it costs to try a passphrase, the
	// constant if 0.
	backupWork int
}

// complete fills in what was left out and checks the rest.
func (c *Config) complete() error {
	if err := ValidateName(c.Name); err != nil {
		return err
	}
	if len(c.Version) > maxNodeVersion || !printable(c.Version) {
		return fmt.Errorf("check version %q: longer than %d bytes, or it does not print", c.Version, maxNodeVersion)
	}
	c.Links = slices.Clone(c.Links)
	for i := range c.Links {
		c.Links[i].Addr = c.Links[i].Addr.Unmap()
	}
	if err := checkLinks(c.Links); err != nil {
		return err
	}
	if c.GossipPort == 0 {
		c.GossipPort = DefaultGossipPort
	}
	if c.PeerPort == 0 {
		c.PeerPort = DefaultPeerPort
	}
	if c.GossipPort == c.PeerPort {
		return fmt.Errorf("check ports: gossip and peer API both use TCP port %d", c.PeerPort)
	}
	var err error
	if c.Profile, err = ParseProfile(string(c.Profile)); err != nil {
		return fmt.Errorf("check profile: %w", err)
	}
	if c.CertificateLife == 0 {
		c.CertificateLife = DefaultCertificateLife
	}
	if c.CertificateLife < 0 || c.CertificateLife > MaxCertificateLife {
		return fmt.Errorf("check certificate life %s: it must be at most %s", c.CertificateLife, MaxCertificateLife)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Network == nil {
		c.Network = kernelNetwork{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.backupWork == 0 {
		c.backupWork = backupWork
	}
	if c.strangerLife == 0 {
		c.strangerLife = strangerLife
	}
	return nil
}

// now reads the wall clock of a complete Config.
func (c *Config) now() time.Time { return c.Now() }
