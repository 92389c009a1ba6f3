// netbench measures connections from a guest to a server on the host.
//
//	netbench serve ADDRESS    serve until killed
//	netbench ADDRESS SIZE N   transfer SIZE bytes in each direction, make N connections one
//	                          after the other, and print the results as JSON
package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// result has seconds.
type result struct {
	Up, Down float64
	// Connect is the median of a connection and an answer on it. All is the time of all.
	Connect, All float64
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	size, err := strconv.ParseInt(os.Args[2], 10, 64)
	must(err)
	n, err := strconv.Atoi(os.Args[3])
	must(err)
	address := os.Args[1]
	host, port, err := net.SplitHostPort(address)
	must(err)
	found, err := net.LookupHost(host) // once: a connection is measured, not a query
	must(err)
	address = net.JoinHostPort(found[0], port)
	var r result
	r.Down = timed(func() {
		c := dial(address, 'd')
		defer c.Close()
		must(json.NewEncoder(c).Encode(size))
		transfer(io.Discard, io.LimitReader(c, size))
	})
	r.Up = timed(func() {
		c := dial(address, 'u')
		defer c.Close()
		transfer(c, io.LimitReader(zeros{}, size))
		must(c.(*net.TCPConn).CloseWrite())
		_, err := io.ReadFull(c, make([]byte, 1))
		must(err)
	})
	var each []float64
	r.All = timed(func() {
		for range n {
			each = append(each, timed(func() {
				c := dial(address, 'c')
				defer c.Close()
				_, err := io.ReadFull(c, make([]byte, 1))
				must(err)
			}))
		}
	})
	slices.Sort(each)
	r.Connect = each[len(each)/2]
	must(json.NewEncoder(os.Stdout).Encode(r))
}

// transfer copies with few system calls, which are slow in an emulated guest, so that the
// network is measured.
func transfer(to io.Writer, from io.Reader) {
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10))
	must(err)
}

func dial(address string, what byte) net.Conn {
	c, err := net.DialTimeout("tcp", address, time.Minute)
	must(err)
	c.SetDeadline(time.Now().Add(time.Minute))
	_, err = c.Write([]byte{what})
	must(err)
	return c
}

func timed(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func serve(address string) {
	l, err := net.Listen("tcp", address)
	must(err)
	for {
		c, err := l.Accept()
		must(err)
		go func() {
			defer c.Close()
			what := make([]byte, 1)
			if _, err := io.ReadFull(c, what); err != nil {
				return
			}
			switch what[0] {
			case 'd':
				var size int64
				if json.NewDecoder(c).Decode(&size) == nil {
					transfer(c, io.LimitReader(zeros{}, size))
				}
			case 'u':
				transfer(io.Discard, c)
				c.Write([]byte{1})
			default:
				c.Write([]byte{1})
			}
		}()
	}
}
