package broker

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// BenchmarkProduce measures the way of a batch through the broker alone: the log answers at once and
// keeps nothing; 16 requests of one connection are under way.
func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			br := startBroker(b)
			c := br.dial(b)
			c.createTopic("t", 1)
			l := br.host.log(b, "t", 0)
			l.set(func() { l.forget = true })
			req := frame(produceRequest("t", 0, batchOf(b, strings.Repeat("x", size-200))), 1)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			const depth = 16
			credit := make(chan struct{}, depth)
			done := make(chan error, 1)
			go func() {
				buf := make([]byte, 4+4+1+60)
				for range b.N {
					head := buf[:4]
					if _, err := io.ReadFull(c.r, head); err != nil {
						done <- err
						return
					}
					n := int(head[2])<<8 | int(head[3])
					if _, err := io.ReadFull(c.r, buf[4:4+n]); err != nil {
						done <- err
						return
					}
					<-credit
				}
				done <- nil
			}()
			b.ResetTimer()
			for range b.N {
				credit <- struct{}{}
				c.write(req)
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkFetch measures an answer of 1 MiB from a log in memory.
func BenchmarkFetch(b *testing.B) {
	br := startBroker(b)
	c := br.dial(b)
	c.createTopic("t", 1)
	for range 64 {
		c.produce("t", 0, batchOf(b, strings.Repeat("x", 16<<10)))
	}
	req := frame(fetchRequest(12, "t", [16]byte{}, 0, 0), 1)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	buf := make([]byte, 2<<20)
	for b.Loop() {
		c.write(req)
		if _, err := io.ReadFull(c.r, buf[:4]); err != nil {
			b.Fatal(err)
		}
		n := int(buf[1])<<16 | int(buf[2])<<8 | int(buf[3])
		if _, err := io.ReadFull(c.r, buf[:n]); err != nil {
			b.Fatal(err)
		}
	}
}
