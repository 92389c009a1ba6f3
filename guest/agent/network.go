package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addresses that claude-vm-gateway@ of the host expects.
var (
	guestAddress = [4]byte{10, 0, 2, 15}
	netmask      = [4]byte{255, 255, 255, 0}
	router       = [4]byte{10, 0, 2, 2}
)

// routeEntry is struct rtentry of linux/route.h on 64-bit machines.
type routeEntry struct {
	_                             uint64
	Destination, Gateway, Netmask unix.RawSockaddrInet4
	Flags                         uint16
	_                             [14]byte // alignment, rt_tos, rt_class, unused
	_                             uint64
	Metric                        int16
	Device                        *byte
	MTU, Window                   uint64
	RTT                           uint16
}

// receiveBuffers has the smallest, the default and the largest size of TCP's receive buffers in bytes, see
// tcp_rmem in tcp(7). With the kernel's default, a connection begins with a window of 64 KiB, which is a single
// packet of the link. With ours, it begins with what the gateway has in its buffer.
const (
	receiveBuffers       = "/proc/sys/net/ipv4/tcp_rmem"
	defaultReceiveBuffer = "131072"
	wantedReceiveBuffer  = "1048576"
)

// setReceiveBuffers leaves another default than the kernel's alone: the guest's configuration has set it.
func setReceiveBuffers() error {
	text, err := os.ReadFile(receiveBuffers)
	if err != nil {
		return err
	}
	sizes := strings.Fields(string(text))
	if len(sizes) != 3 || sizes[1] != defaultReceiveBuffer {
		return nil
	}
	sizes[1] = wantedReceiveBuffer
	return os.WriteFile(receiveBuffers, []byte(strings.Join(sizes, " ")), 0)
}

// configureNetwork configures the loopback interface and eth0, which is missing with Mode=none.
// A program such as ip(8) would take a tenth of a second under emulation.
func configureNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := setUp(fd, "lo"); err != nil {
		return err
	}
	const eth = "eth0"
	if _, err := os.Stat("/sys/class/net/" + eth); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := errors.Join(
		setAddress(fd, eth, unix.SIOCSIFADDR, guestAddress),
		setAddress(fd, eth, unix.SIOCSIFNETMASK, netmask),
		setUp(fd, eth),
	); err != nil {
		return err
	}
	route := routeEntry{Flags: unix.RTF_UP | unix.RTF_GATEWAY}
	route.Destination.Family, route.Netmask.Family = unix.AF_INET, unix.AF_INET
	route.Gateway = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: router}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(&route))); errno != 0 {
		return os.NewSyscallError("SIOCADDRT", errno)
	}
	if err := setReceiveBuffers(); err != nil {
		return err
	}
	// Published ports also reach servers that listen only on 127.0.0.1.
	return os.WriteFile("/proc/sys/net/ipv4/conf/"+eth+"/route_localnet", []byte("1\n"), 0)
}

func setAddress(fd int, name string, request uint, address [4]byte) error {
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = r.SetInet4Addr(address[:])
	}
	if err == nil {
		err = unix.IoctlIfreq(fd, request, r)
	}
	if err != nil {
		return fmt.Errorf("address of %s: %w", name, err)
	}
	return nil
}

// setUp sets IFF_UP, as "ip link set NAME up".
func setUp(fd int, name string) error {
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r)
	}
	if err == nil {
		r.SetUint16(r.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}
