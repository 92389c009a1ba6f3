package main

import (
	"net"
	"strconv"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/relay"
	"golang.org/x/crypto/ssh"
)

// connectTimeout limits how long connecting to a forwarded port may take.
const connectTimeout = 10 * time.Second

// serveForward connects a channel of the type direct-tcpip (RFC 4254 section 7.2) to a
// TCP port, from inside the guest.
func serveForward(offered ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	if ssh.Unmarshal(offered.ExtraData(), &to) != nil || to.Port > 65535 {
		offered.Reject(ssh.ConnectionFailed, "invalid address")
		return
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))), connectTimeout)
	if err != nil {
		offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, requests, err := offered.Accept()
	if err != nil {
		conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	relay.Join(ch, conn.(*net.TCPConn))
}
