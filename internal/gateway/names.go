package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// synthetic is the prefix of the addresses that stand for names. RFC 2544 reserves it for
// benchmarks, so it is not on the Internet.
var synthetic = netip.MustParsePrefix("198.18.0.0/15")

// maxNames is the number of names that have an address at the same time.
const maxNames = 1 << 14

// names assigns an address to each name that the guest looks up, so that a connection to
// it has a name. When all addresses are used, the oldest is assigned again.
//
// The file has the assignments, a name per line, so that connections of the guest keep their
// names if the gateway is killed. The n-th name has the n-th address, modulo maxNames.
type names struct {
	mu     sync.Mutex
	byName map[string]int // the index of the address
	all    []string       // by index
	next   int
	file   *os.File
}

// openNames reads the file and keeps it open.
func openNames(path string) (*names, error) {
	n := &names{byName: map[string]int{}, all: make([]string, 0, 64)}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	n.file = f
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		n.add(strings.TrimSuffix(line, "\n"))
	}
	if len(text) > 0 && text[len(text)-1] != '\n' { // the disk was full
		err = n.write("\n")
	}
	return n, err
}

// add assigns the next address to a name.
func (n *names) add(name string) int {
	i := n.next % maxNames
	n.next++
	if i < len(n.all) {
		delete(n.byName, n.all[i])
		n.all[i] = name
	} else {
		n.all = append(n.all, name)
	}
	n.byName[name] = i
	return i
}

// address returns the address of a name, which is valid and in lower case.
func (n *names) address(name string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, known := n.byName[name]
	if !known {
		i = n.add(name)
		if err := n.save(name); err != nil {
			fmt.Fprintf(os.Stderr, "table of names: %v\n", err) // it works until a restart
		}
	}
	base := synthetic.Addr().As4()
	address := binary.BigEndian.Uint32(base[:]) + uint32(i) + 1
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, address)))
}

// save appends a name to the file. It rewrites the file when each address has been assigned
// twice, so that it does not fill the runtime directory.
func (n *names) save(name string) error {
	if n.next != 2*maxNames {
		return n.write(name + "\n")
	}
	n.next = maxNames
	return errors.Join(n.file.Truncate(0), n.write(strings.Join(n.all, "\n")+"\n"))
}

func (n *names) write(text string) error {
	_, err := n.file.WriteString(text)
	return err
}

// name returns the name of a synthetic address.
func (n *names) name(address netip.Addr) (string, bool) {
	if !synthetic.Contains(address) {
		return "", false
	}
	a, base := address.As4(), synthetic.Addr().As4()
	i := int(binary.BigEndian.Uint32(a[:])) - int(binary.BigEndian.Uint32(base[:])) - 1
	n.mu.Lock()
	defer n.mu.Unlock()
	if i < 0 || i >= len(n.all) {
		return "", false
	}
	return n.all[i], true
}
