package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// streamPort is where a stream is received.
	streamPort = 7008
	// chunk is what a stream is written and read by, in bytes: iperf3's.
	chunk = 128 << 10
	// firstTurn is how much is sent in a stream's first turn, in bytes; turnTime is
	// how long each later one shall take, and longestTurn how long one may.
	firstTurn   = 8 << 20
	turnTime    = 100 * time.Millisecond
	longestTurn = 20 * time.Second
	// turns are taken by each way in a round.
	turns = 10
	// congestion is the congestion control of every stream: Linux's own default,
	// whatever this machine's is, so that figures of two machines can be compared.
	congestion = "cubic"
)

// anyProcessor lets a stream's end run where the kernel will have it.
const anyProcessor = -1

// stream is one TCP connection over a way. It stays, so that ways can take turns
// of a fraction of a second: between two of them the machine is the same.
type stream struct {
	way      way
	out, in  *worker
	from, to int // the sockets
	next     int // bytes of the next turn
}

// openStream connects over a way. The ends stay on the processors, if they are
// not anyProcessor.
func openStream(y way, sender, receiver int) (s *stream, err error) {
	s = &stream{way: y, from: -1, to: -1, next: firstTurn}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open stream over way %s: %w", y.name, errors.Join(err, s.close()))
		}
	}()
	if s.in, err = newWorker(y.to, receiver); err != nil {
		return s, err
	}
	if s.out, err = newWorker(y.from, sender); err != nil {
		return s, err
	}
	listener := -1
	err = s.in.do(func() (err error) {
		listener, err = listen(y.addr)
		return err
	})
	if err != nil {
		return s, err
	}
	// The connection waits in the listener's queue to be taken.
	err = s.out.do(func() (err error) {
		s.from, err = dial(y.addr)
		return err
	})
	if err == nil {
		err = s.in.do(func() (err error) {
			s.to, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
			return err
		})
	}
	return s, errors.Join(err, unix.Close(listener))
}

func listen(at netip.Addr) (int, error) {
	fd, err := streamSocket(at)
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, sockaddr(at))
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("listen: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func dial(to netip.Addr) (int, error) {
	fd, err := streamSocket(to)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return -1, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// streamSocket is a blocking one, whose calls end after the longest turn.
func streamSocket(addr netip.Addr) (int, error) {
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	limit := unix.NsecToTimeval(longestTurn.Nanoseconds())
	err = errors.Join(
		// Another stream over the same way may just have ended.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestion),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("set up socket: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func sockaddr(addr netip.Addr) unix.Sockaddr {
	if addr.Is4() {
		return &unix.SockaddrInet4{Port: streamPort, Addr: addr.As4()}
	}
	return &unix.SockaddrInet6{Port: streamPort, Addr: addr.As16()}
}

// turn sends for about turnTime and returns how much arrived in a second, in
// Mbit/s.
func (s *stream) turn() (float64, error) {
	total := s.next
	sending := make(chan error, 1)
	began := time.Now()
	go func() { sending <- s.out.do(func() error { return transfer(s.from, total, unix.Write) }) }()
	received := s.in.do(func() error { return transfer(s.to, total, unix.Read) })
	took := time.Since(began)
	if err := errors.Join(received, <-sending); err != nil {
		return 0, fmt.Errorf("stream over way %s: %w", s.way.name, err)
	}
	rate := float64(total) / took.Seconds()
	s.next = max(int(rate*turnTime.Seconds()), chunk)
	return rate * 8 / 1e6, nil
}

// transfer writes or reads so many bytes.
func transfer(fd, total int, call func(int, []byte) (int, error)) error {
	buffer := make([]byte, chunk)
	for total > 0 {
		n, err := call(fd, buffer[:min(total, chunk)])
		switch {
		case errors.Is(err, unix.EINTR): // The runtime's own signals end a wait that has a limit.
		case err != nil:
			return err
		case n == 0:
			return errors.New("the other end is closed")
		default:
			total -= n
		}
	}
	return nil
}

func (s *stream) close() error {
	var errs []error
	for _, fd := range []int{s.from, s.to} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	for _, w := range []*worker{s.out, s.in} {
		if w != nil {
			w.end()
		}
	}
	return errors.Join(errs...)
}

// worker is a thread in a network namespace, on one processor or on any.
type worker struct {
	work chan func() error
	done chan error
}

func newWorker(path string, processor int) (*worker, error) {
	w := &worker{work: make(chan func() error), done: make(chan error)}
	go func() {
		// Never unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		w.done <- enter(path, func() error { return stayOn(processor) })
		for do := range w.work {
			w.done <- do()
		}
	}()
	if err := <-w.done; err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// stayOn has the thread run on one processor only, if that is not anyProcessor.
func stayOn(processor int) error {
	if processor == anyProcessor {
		return nil
	}
	set := unix.CPUSet{}
	set.Set(processor)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("stay on processor %d: %w", processor, err)
	}
	return nil
}

func (w *worker) do(f func() error) error {
	w.work <- f
	return <-w.done
}

func (w *worker) end() { close(w.work) }

// streams returns how much one TCP stream carries over each of the ways, which
// take turns: samples of as many turns each, by way.
func streams(rounds int, processors [2]int, ways ...way) (samples [][]float64, err error) {
	open := make([]*stream, 0, len(ways))
	defer func() {
		for _, s := range open {
			err = errors.Join(err, s.close())
		}
	}()
	for _, y := range ways {
		s, err := openStream(y, processors[0], processors[1])
		if err != nil {
			return nil, err
		}
		open = append(open, s)
		// The first one finds out how much a turn is.
		if _, err := s.turn(); err != nil {
			return nil, err
		}
	}
	return interleave(rounds, len(open), func(i int) (float64, error) { return open[i].turn() })
}
