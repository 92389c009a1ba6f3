package main

import (
	"encoding/binary"
	"log"
	"os"
	"path/filepath"
	"strings"
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

// isPowerButton says whether an input device of this name has the button: ACPI's, or
// one of a device tree, as QEMU has it for aarch64.
func isPowerButton(name string) bool { return name == "Power Button" || name == "gpio-keys" }

// watchPowerButton powers the guest off when the host presses the power button.
// systemd-logind would do so too, but needs udev and D-Bus for it, which
// cost more than a second of start-up where there is no hardware virtualisation.
func watchPowerButton() {
	names, _ := filepath.Glob("/sys/class/input/event*/device/name")
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err != nil || !isPowerButton(strings.TrimSpace(string(text))) {
			continue
		}
		event := filepath.Base(filepath.Dir(filepath.Dir(file)))
		if err := awaitPower(filepath.Join("/dev/input", event)); err != nil {
			log.Print(err)
		}
		return
	}
	log.Print("no power button: a stop of the unit will not be a clean shut-down")
}

func awaitPower(path string) error {
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
