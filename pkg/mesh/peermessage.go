package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// The paths of the peer API. All others are the owner's.
const (
	pathJoin = "/mesh/v1/join"
	pathSync = "/mesh/v1/sync"
	pathKeys = "/mesh/v1/keys"
	// pathRenew is where a node gets another certificate.
	pathRenew = "/mesh/v1/renew"
	// pathShare is where authorities exchange what they have in common.
	pathShare = "/mesh/v1/share"
)

// Limits of the peer API's messages, in bytes.
const (
	maxJoinBody   = 16 << 10
	maxSyncBody   = 2*syncBytes + maxEnvelope
	maxJoinAnswer = 4 << 20
	// maxRefusalBody has room for evictionProof.
	maxRefusalBody = 4*maxCertificate + 16<<10
	maxKeyBody     = 1 << 10
	maxKeyAnswer   = 4 << 10
	maxShareBody   = maxSharedBytes + 1<<20
	maxRenewBody   = 1 << 10
	maxRenewAnswer = 2 * maxCertificate
)

// messageType is the media type of the peer API's messages.
const messageType = "application/protobuf"

// codes of refusals, and the errors that they are for the caller.
const (
	codeBadRequest  = "bad_request"
	codeNotServed   = "not_served"
	codeUnavailable = "unavailable"
	codeEvicted     = "evicted"
)

var refusalCodes = map[string]error{
	"token_unknown":  ErrTokenUnknown,
	"token_expired":  ErrTokenExpired,
	"token_used_up":  ErrTokenUsedUp,
	"name_taken":     ErrNameTaken,
	"name_invalid":   ErrNameInvalid,
	"prefix_taken":   ErrPrefixTaken,
	"not_authority":  ErrNotAuthority,
	codeUnavailable:  errors.New("the node cannot answer now"),
	codeBadRequest:   errors.New("the node did not understand"),
	codeNotServed:    errors.New("the node does not serve this"),
	codeEvicted:      ErrEvicted,
	"not_trusted":    errCertificate,
	"not_in_mesh":    ErrNotInMesh,
	"too_many_calls": errTooManyCalls,
}

// errTooManyCalls says that a node is busy with others.
var errTooManyCalls = errors.New("the node has too many calls at once")

// codeOf returns the code of an error that callers know, or "".
func codeOf(err error) string {
	for code, known := range refusalCodes {
		if errors.Is(err, known) {
			return code
		}
	}
	return ""
}

// readMessage reads a request. It answers by itself if that fails.
func readMessage(w http.ResponseWriter, r *http.Request, limit int64, m proto.Message) bool {
	control := http.NewResponseController(w)
	deadline := time.Now().Add(syncTimeout)
	_ = control.SetReadDeadline(deadline) // Where it cannot be set the server's own hold.
	_ = control.SetWriteDeadline(deadline)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		err = wire.Unmarshal(body, m)
	}
	if err != nil {
		writeRefusal(w, http.StatusBadRequest, codeBadRequest, err)
		return false
	}
	return true
}

// writeMessage writes an answer.
func writeMessage(w http.ResponseWriter, m proto.Message) {
	b, err := wire.Marshal(m)
	if err != nil {
		writeRefusal(w, http.StatusInternalServerError, codeUnavailable, err)
		return
	}
	w.Header().Set("Content-Type", messageType)
	_, _ = w.Write(b) // The caller that is gone learns nothing.
}

// writeRefusal writes an error.
func writeRefusal(w http.ResponseWriter, status int, code string, err error, proof ...*wire.Envelope) {
	text := err.Error()
	b, merr := wire.Marshal(&wire.Refusal{Code: code, Message: text[:min(len(text), 512)], Records: proof})
	if merr != nil {
		http.Error(w, code, status)
		return
	}
	w.Header().Set("Content-Type", messageType)
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// call posts a message and reads the answer. What the other side refuses wraps
// the error that its code stands for.
func call(ctx context.Context, client *http.Client, url string, req proto.Message, limit int64, answer proto.Message) error {
	b, err := wire.Marshal(req)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Content-Type", messageType)
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return readRefusal(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if int64(len(body)) > limit {
		return fmt.Errorf("read answer: more than %d bytes", limit)
	}
	return wire.Unmarshal(body, answer)
}

// readRefusal returns the error that an answer carries.
func readRefusal(resp *http.Response) error {
	var m wire.Refusal
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusalBody))
	if err != nil || wire.Unmarshal(body, &m) != nil {
		return fmt.Errorf("read answer: %s", resp.Status)
	}
	if m.GetCode() == codeEvicted && len(m.GetRecords()) > 0 {
		return &evictedAnswer{proof: m.GetRecords()}
	}
	if known := refusalCodes[m.GetCode()]; known != nil {
		return known
	}
	return fmt.Errorf("%q: %q", m.GetCode(), m.GetMessage())
}

// evictedAnswer says that another node holds this one for evicted, and why. It is
// true only if its proof is.
type evictedAnswer struct{ proof []*wire.Envelope }

func (*evictedAnswer) Error() string { return ErrEvicted.Error() }

// Unwrap gives ErrEvicted.
func (*evictedAnswer) Unwrap() error { return ErrEvicted }

// callPeer does one call of the mesh's own paths. An evicted node learns by the
// answer that it is.
func (m *Mesh) callPeer(ctx context.Context, url string, req proto.Message, limit int64, answer proto.Message) error {
	err := call(ctx, &http.Client{Transport: stamped{m: m, next: m.peers}, CheckRedirect: stay}, url, req, limit, answer)
	var evicted *evictedAnswer
	if errors.As(err, &evicted) {
		news, _ := m.replica.apply(evicted.proof)
		m.learned(news)
	}
	return err
}

// exchange does one round of synchronization.
func (m *Mesh) exchange(ctx context.Context, base string, req *wire.SyncRequest) (*wire.SyncResponse, error) {
	var answer wire.SyncResponse
	if err := m.callPeer(ctx, base+pathSync, req, maxSyncBody, &answer); err != nil {
		return nil, fmt.Errorf("synchronize with %s: %w", base, err)
	}
	return &answer, nil
}
