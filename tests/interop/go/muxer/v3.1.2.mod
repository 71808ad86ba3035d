module sluicegate/interop/muxer

go 1.23

require (
	github.com/hashicorp/yamux v0.1.2
	github.com/libp2p/go-yamux/v3 v3.1.2
	github.com/libp2p/go-yamux/v5 v5.1.0
	sluicegate/interop/line v0.0.0
)

require github.com/libp2p/go-buffer-pool v0.0.2 // indirect

replace sluicegate/interop/line => ../line
