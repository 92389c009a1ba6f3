package main

import (
	"encoding/binary"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"
)

// inputEvent is struct input_event of linux/input.h on 64-bit machines.
type inputEvent struct {
	Seconds, Microseconds int64
	Type, Code            uint16
	Value                 int32
}

const (
	evKey    = 1   // EV_KEY
	keyPower = 116 // KEY_POWER
)

// isPowerButton reports whether the input device with this name has the power button:
// ACPI's, or the device tree's that QEMU uses for aarch64.
func isPowerButton(name string) bool { return name == "Power Button" || name == "gpio-keys" }

// watchPowerButton powers the guest off when the host presses the power button.
// systemd-logind could do this, but requires udev and D-Bus, which delay the boot by
// more than a second without hardware virtualization.
func watchPowerButton() {
	names, _ := filepath.Glob("/sys/class/input/event*/device/name")
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err != nil || !isPowerButton(strings.TrimSpace(string(text))) {
			continue
		}
		event := filepath.Base(filepath.Dir(filepath.Dir(file)))
		if err := readPowerButton(filepath.Join("/dev/input", event)); err != nil {
			log.Print(err)
		}
		return
	}
	log.Print("no power button found: stopping the VM's unit will not shut the guest down cleanly")
}

// syncJournal waits until journald has processed, and forwarded to the host, what was logged so
// far, as "journalctl --sync" does: the guest is off a moment later.
func syncJournal() {
	conn, err := net.Dial("unix", "/run/systemd/journal/io.systemd.journal")
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Second))
		_, err = conn.Write([]byte(`{"method":"io.systemd.Journal.Synchronize"}` + "\x00"))
	}
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if err != nil {
		log.Printf("synchronize the journal: %v", err)
	}
}

func readPowerButton(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 64*unsafe.Sizeof(inputEvent{}))
	for {
		n, err := f.Read(buf)
		if err != nil {
			return err
		}
		for b := buf[:n]; len(b) > 0; {
			var e inputEvent
			used, err := binary.Decode(b, binary.NativeEndian, &e)
			if err != nil {
				return err
			}
			b = b[used:]
			if e.Type == evKey && e.Code == keyPower && e.Value == 1 {
				log.Print("power button pressed")
				powerOff()
			}
		}
	}
}
