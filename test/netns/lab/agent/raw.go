package agent

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// maxFrames bounds what a capture keeps.
const maxFrames = 20000

// inject sends frames out of an interface, untouched.
func inject(args InjectArgs) (err error) {
	conn, err := listenRaw(args.Interface)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for number, frame := range args.Frames {
		if len(frame) < 14 {
			return fmt.Errorf("send frame %d: %d bytes are no Ethernet header", number, len(frame))
		}
		// The socket wants the destination that the frame has in it anyway.
		to := &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}
		if _, err := conn.WriteTo(frame, to); err != nil {
			return fmt.Errorf("send frame %d of %d bytes: %w", number, len(frame), err)
		}
	}
	return nil
}

func listenRaw(ifname string) (*packet.Conn, error) {
	iface, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", ifname, err)
	}
	conn, err := packet.Listen(iface, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", ifname, err)
	}
	return conn, nil
}

// capture keeps every frame of an interface, in and out.
type capture struct {
	conn   *packet.Conn
	reader sync.WaitGroup

	mu     sync.Mutex
	frames [][]byte
}

func startCapture(ifname string) (*capture, error) {
	conn, err := listenRaw(ifname)
	if err != nil {
		return nil, err
	}
	c := &capture{conn: conn}
	c.reader.Go(c.run)
	return c, nil
}

func (c *capture) run() {
	buffer := make([]byte, 65535)
	for {
		n, _, err := c.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		c.mu.Lock()
		if len(c.frames) < maxFrames {
			c.frames = append(c.frames, slices.Clone(buffer[:n]))
		}
		c.mu.Unlock()
	}
}

func (c *capture) read() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.frames)
}

func (c *capture) stop() ([][]byte, error) {
	err := c.conn.Close()
	c.reader.Wait()
	return c.read(), err
}
