package mesh

import "errors"

// Errors that callers branch on.
var (
	// ErrInMesh says that this node is in a mesh already.
	ErrInMesh = errors.New("this node is in a mesh already")
	// ErrNotInMesh says that this node is in no mesh.
	ErrNotInMesh = errors.New("this node is in no mesh")
	// ErrNotAuthority says that only an authority may do what was asked.
	ErrNotAuthority = errors.New("this node is not an authority of the mesh")
	// ErrTokenMalformed says that a string is not a join token.
	ErrTokenMalformed = errors.New("not a join token, or not all of it")
	// ErrTokenUnknown says that the authority does not know the token. It does
	// not say whether its id or its secret is wrong.
	ErrTokenUnknown = errors.New("the authority does not know this token")
	// ErrTokenExpired says that the token's time is over.
	ErrTokenExpired = errors.New("the token has expired")
	// ErrTokenUsedUp says that as many nodes as may have joined with the token.
	ErrTokenUsedUp = errors.New("the token is used up")
	// ErrNameTaken says that another node of the mesh has the name.
	ErrNameTaken = errors.New("another node of the mesh has this name")
	// ErrPrefixTaken says that the node's /64 is that of another node. It
	// needs another key: its state directory must be made anew.
	ErrPrefixTaken = errors.New("another node of the mesh has the overlay prefix that follows from this node's key")
	// ErrNameInvalid says that a node's name is not a DNS label.
	ErrNameInvalid = errors.New("a node's name is 1 to 63 of a-z, 0-9 and '-', with no '-' at its ends, and not a node id")
	// ErrEvicted says that a node was taken out of the mesh for good: its key is
	// worth nothing there any more.
	ErrEvicted = errors.New("the node was evicted from the mesh")
	// ErrEvictSelf says that a node cannot evict itself.
	ErrEvictSelf = errors.New("a node cannot evict itself: it leaves")
	// ErrNotMeshKey says that only a node with the mesh's own key may do what was
	// asked, which an authority that has just joined has not got yet.
	ErrNotMeshKey = errors.New("this authority has not got the mesh's key from the others yet: try again soon")
	// ErrUnknownNode says that there is no such node in the mesh.
	ErrUnknownNode = errors.New("no such node in the mesh")
)
