package vm

import "testing"

func TestParseMemory(t *testing.T) {
	for value, want := range map[string]uint64{
		"512M": 512, "536870912": 512, "524288K": 512, "1G": 1024, "007G": 7168,
		"64T": 1 << 26, "65536G": 1 << 26, "67108864M": 1 << 26, "70368744177664": 1 << 26,
	} {
		if got, err := ParseMemory(value); err != nil || got != want<<20 {
			t.Errorf("Memory=%s: %d, %v, want %d MiB", value, got, err, want)
		}
	}
	for value, want := range map[string]string{
		"":  "not a size",
		"G": "not a size", "1GG": "not a size", "1 G": "not a size", "+1G": "not a size", "0x400M": "not a size", "1e3M": "not a size",
		"536870911": "less than the 512M that the guest needs", "0T": "less than the 512M that the guest needs",
		"536870913": "not a whole number of MiB", "524289K": "not a whole number of MiB",
		"67108865M": "too large", "18446744073709551615T": "too large",
		"16777216T": "too large", // 2^64 bytes
	} {
		if got, err := ParseMemory(value); err == nil || err.Error() != want {
			t.Errorf("Memory=%s: %d, %v, want %s", value, got, err, want)
		}
	}
}

func TestParseScratch(t *testing.T) {
	for value, want := range map[string]uint64{"no": 0, "Off": 0, "0": 0, "64M": 64, "16G": 1 << 14, "64T": 1 << 26} {
		if got, err := ParseScratch(value); err != nil || got != want<<20 {
			t.Errorf("Scratch=%s: %d, %v, want %d MiB", value, got, err, want)
		}
	}
	for value, want := range map[string]string{
		"": "not a size", "yes": "not a size", "0G": "less than 64M", "63M": "less than 64M",
		"67108865": "not a whole number of MiB", "65T": "too large",
	} {
		if got, err := ParseScratch(value); err == nil || err.Error() != want {
			t.Errorf("Scratch=%s: %d, %v, want %s", value, got, err, want)
		}
	}
}
