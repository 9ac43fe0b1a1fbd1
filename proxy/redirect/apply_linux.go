package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ackBuffer holds the acknowledgements of the largest transaction (two families of 140 rules, a
// kilobyte each as the kernel counts them).
const ackBuffer = 1 << 20

// Families are the families that the kernel has. A kernel without IPv6 has nothing to redirect
// there. One with IPv6 must redirect that too, or traffic would pass the proxy by.
func Families() ([]Family, error) {
	_, err := os.Stat("/proc/self/net/if_inet6")
	switch {
	case err == nil:
		return []Family{IPv4, IPv6}, nil
	case errors.Is(err, fs.ErrNotExist):
		return []Family{IPv4}, nil
	}
	return nil, fmt.Errorf("redirect: look for IPv6: %w", err)
}

// Apply replaces the rules by those of o, in the network namespace of the calling thread.
func Apply(o Options, families ...Family) error {
	if err := o.validate(); err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	chains := Rules(o)
	err := apply(chains, families)
	if !missing(err) {
		return err
	}
	// A kernel before Linux 5.9, or one that was built without nft_socket, cannot refuse closed
	// ports. Everything else works there.
	return apply(slices.DeleteFunc(chains, func(c Chain) bool { return c.Name == closedChain }),
		families)
}

func apply(chains []Chain, families []Family) error {
	return transaction("apply", families, func(c *nftables.Conn, t *nftables.Table) {
		c.AddTable(t)
		for _, chain := range chains {
			addChain(c, t, chain)
		}
	})
}

// Remove takes the rules away. That there are none is no error.
func Remove(families ...Family) error {
	return transaction("remove", families, func(*nftables.Conn, *nftables.Table) {})
}

// transaction runs a batch, of which the kernel does all or nothing. The batch begins by deleting
// each table. It adds the table before that, so that deleting succeeds if the table did not exist.
func transaction(op string, families []Family, then func(*nftables.Conn, *nftables.Table)) error {
	c, err := nftables.New(nftables.WithSockOptions(func(nc *netlink.Conn) error {
		return nc.SetReadBuffer(ackBuffer)
	}))
	if err != nil {
		return explain(op, err)
	}
	for _, f := range families {
		t := &nftables.Table{Name: TableName, Family: family(f)}
		c.AddTable(t)
		c.DelTable(t)
		then(c, t)
	}
	if err := c.Flush(); err != nil {
		return explain(op, err)
	}
	return nil
}

// explain says what to do about the two things that go wrong.
func explain(op string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("redirect: %s rules: %w: it needs uid 0 with the NET_ADMIN capability; "+
			"where Pod Security forbids that, namespaces must be labelled privileged", op, err)
	case missing(err):
		return fmt.Errorf("redirect: %s rules: %w: this kernel has no NAT in nf_tables; "+
			"on the node load nf_tables, nf_conntrack, nft_ct, nft_chain_nat and nft_redir with "+
			"modprobe, or use a kernel built with them (one with legacy iptables only is not "+
			"supported)", op, err)
	}
	return fmt.Errorf("redirect: %s rules: %w", op, err)
}

// missing says whether a part of the kernel is not there: netlink's family for nf_tables, an
// address family, a type of chain, an expression.
func missing(err error) bool {
	for _, e := range []syscall.Errno{
		unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.ENOENT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func family(f Family) nftables.TableFamily {
	if f == IPv6 {
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

func addChain(c *nftables.Conn, t *nftables.Table, chain Chain) {
	hook, accept := nftables.ChainHookPrerouting, nftables.ChainPolicyAccept
	if chain.Hook == "output" {
		hook = nftables.ChainHookOutput
	}
	to := c.AddChain(&nftables.Chain{
		Name: chain.Name, Table: t, Type: nftables.ChainType(chain.Type), Hooknum: hook,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(chain.priority())),
		Policy:   &accept,
	})
	for _, r := range chain.Rules {
		c.AddRule(&nftables.Rule{
			Table: t, Chain: to, Exprs: r.exprs(),
			UserData: userdata.AppendString(nil, userdata.TypeComment, r.Comment),
		})
	}
}

// reg is the register into which each condition is loaded to be compared. Conditions follow one
// another, so one register is enough.
const reg = 1

func (r Rule) exprs() []expr.Any {
	all := load(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP})
	if r.UID != 0 {
		all = append(all, load(expr.MetaKeySKUID, binary.NativeEndian.AppendUint32(nil, r.UID))...)
	}
	if r.OutLoop {
		all = append(all, load(expr.MetaKeyOIFNAME, loopback())...)
	}
	if r.InLoop {
		all = append(all, load(expr.MetaKeyIIFNAME, loopback())...)
	}
	if r.Invalid {
		all = append(all, ctState(expr.CtStateBitINVALID)...)
	}
	if r.New {
		all = append(all, ctState(expr.CtStateBitNEW)...)
	}
	if r.Listens { // the rule ends where there is no socket, and any has a value
		all = append(all, &expr.Socket{Key: expr.SocketKeyTransparent, Register: reg})
	}
	if r.Dest != (Ports{}) {
		all = append(all, destination(r.Dest)...)
	}
	return append(append(all, &expr.Counter{}), r.action()...)
}

func load(key expr.MetaKey, equal []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: equal},
	}
}

func loopback() []byte {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return name
}

func ctState(bit uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{
			SourceRegister: reg, DestRegister: reg, Len: 4, Xor: make([]byte, 4),
			Mask: binary.NativeEndian.AppendUint32(nil, bit),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}
}

func destination(p Ports) []expr.Any {
	const offset, size = 2, 2 // of the destination port in a TCP header
	return []expr.Any{
		&expr.Payload{
			DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size,
		},
		&expr.Range{
			Op: expr.CmpOpEq, Register: reg,
			FromData: binary.BigEndian.AppendUint16(nil, p.Low),
			ToData:   binary.BigEndian.AppendUint16(nil, p.High),
		},
	}
}

func (r Rule) action() []expr.Any {
	switch r.Action {
	case Return:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
	case Drop:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	case Reject:
		return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
	}
	return []expr.Any{
		&expr.Immediate{Register: reg, Data: binary.BigEndian.AppendUint16(nil, r.To)},
		&expr.Redir{RegisterProtoMin: reg, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
	}
}
