package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// node is one machine of the cluster; the API server runs on the first.
type node struct{ name, address string }

// pair is a certificate with its key.
type pair struct {
	certificate    *x509.Certificate
	key            *ecdsa.PrivateKey
	certificatePEM []byte
	keyPEM         []byte
}

// authority is a folder with one CA, which signs what is written into it.
type authority struct {
	*pair
	dir string
}

// certificates writes what kubeadm would: the CAs, a certificate for each component, and the kubeconfigs.
func certificates(args []string) error {
	flags := flag.NewFlagSet("certs", flag.ExitOnError)
	dir := flags.String("dir", "pki", "output directory")
	list := flags.String("nodes", "node-1=127.0.0.1", "comma-separated name=address; the API server runs on the first")
	serviceIP := flags.String("service-ip", "10.96.0.1", "address of the kubernetes service")
	if err := flags.Parse(args); err != nil {
		return err
	}
	nodes, err := parseNodes(*list)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(*dir, "ca")
	if err != nil {
		return err
	}
	if err := ca.issueServers(nodes, *serviceIP); err != nil {
		return err
	}
	if err := ca.issueClients(nodes); err != nil {
		return err
	}
	if err := writeFrontProxy(*dir); err != nil {
		return err
	}
	return writeServiceAccountKey(*dir)
}

func parseNodes(list string) ([]node, error) {
	var nodes []node
	for _, entry := range strings.Split(list, ",") {
		name, address, ok := strings.Cut(entry, "=")
		if !ok || net.ParseIP(address) == nil {
			return nil, fmt.Errorf("bad node %q: want name=address", entry)
		}
		nodes = append(nodes, node{name, address})
	}
	return nodes, nil
}

func newAuthority(dir, name string) (*authority, error) {
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		IsCA:     true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
	}
	root, err := issue(nil, template)
	if err != nil {
		return nil, err
	}
	return &authority{root, dir}, root.write(dir, name)
}

func (ca *authority) issueServers(nodes []node, serviceIP string) error {
	names := []string{
		"localhost", nodes[0].name, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local",
	}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(nodes[0].address), net.ParseIP(serviceIP)}
	if err := ca.issueServer("apiserver", pkix.Name{CommonName: "kube-apiserver"}, names, addresses); err != nil {
		return err
	}
	for _, node := range nodes {
		addresses := []net.IP{net.ParseIP(node.address), net.IPv4(127, 0, 0, 1)}
		if err := ca.issueServer("kubelet-"+node.name, kubeletSubject(node), []string{node.name}, addresses); err != nil {
			return err
		}
	}
	return nil
}

func (ca *authority) issueServer(file string, subject pkix.Name, names []string, addresses []net.IP) error {
	leaf, err := issue(ca.pair, &x509.Certificate{
		Subject:     subject,
		DNSNames:    names,
		IPAddresses: addresses,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	return leaf.write(ca.dir, file)
}

// issueClients makes the certificate that the API server shows to kubelets, and a kubeconfig for everybody else:
// the user and group in a subject are what RBAC's built-in bindings are made for.
func (ca *authority) issueClients(nodes []node) error {
	const administrators = "system:masters"
	apiserver := pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{administrators}}
	if _, err := ca.issueClient("apiserver-kubelet-client", apiserver); err != nil {
		return err
	}
	users := map[string]pkix.Name{
		"admin":              {CommonName: "kubernetes-admin", Organization: []string{administrators}},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
		"scheduler":          {CommonName: "system:kube-scheduler"},
		"kube-proxy":         {CommonName: "system:kube-proxy", Organization: []string{"system:node-proxier"}},
	}
	for _, node := range nodes {
		users["kubelet-"+node.name] = kubeletSubject(node)
	}
	for file, subject := range users {
		if err := ca.writeKubeconfig(file, subject, "https://"+nodes[0].address+":6443"); err != nil {
			return err
		}
	}
	return nil
}

func kubeletSubject(node node) pkix.Name {
	return pkix.Name{CommonName: "system:node:" + node.name, Organization: []string{"system:nodes"}}
}

func (ca *authority) issueClient(file string, subject pkix.Name) (*pair, error) {
	leaf, err := issue(ca.pair, &x509.Certificate{
		Subject:     subject,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	return leaf, leaf.write(ca.dir, file)
}

func (ca *authority) writeKubeconfig(file string, subject pkix.Name, server string) error {
	client, err := ca.issueClient("client-"+file, subject)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["local"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca.certificatePEM}
	config.AuthInfos["local"] = &clientcmdapi.AuthInfo{ClientCertificateData: client.certificatePEM, ClientKeyData: client.keyPEM}
	config.Contexts["local"] = &clientcmdapi.Context{Cluster: "local", AuthInfo: "local"}
	config.CurrentContext = "local"
	return clientcmd.WriteToFile(*config, filepath.Join(ca.dir, file+".kubeconfig"))
}

// writeFrontProxy makes the second CA: who holds its certificate speaks for any user, so it must not be the first.
func writeFrontProxy(dir string) error {
	ca, err := newAuthority(dir, "front-proxy-ca")
	if err != nil {
		return err
	}
	_, err = ca.issueClient("front-proxy-client", pkix.Name{CommonName: "front-proxy-client"})
	return err
}

func writeServiceAccountKey(dir string) error {
	signer, err := issue(nil, &x509.Certificate{Subject: pkix.Name{CommonName: "service accounts"}})
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(signer.key.Public())
	if err != nil {
		return err
	}
	if err := writeFile(dir, "sa.key", signer.keyPEM); err != nil {
		return err
	}
	return writeFile(dir, "sa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

// issue signs a template with its issuer's key, or with its own when there is no issuer.
func issue(issuer *pair, template *x509.Certificate) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	template.BasicConstraintsValid = true
	signer, parent := crypto.Signer(key), template
	if issuer != nil {
		signer, parent = issuer.key, issuer.certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return newPair(der, key)
}

func newPair(der []byte, key *ecdsa.PrivateKey) (*pair, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &pair{
		certificate:    certificate,
		key:            key,
		certificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

func (p *pair) write(dir, name string) error {
	if err := writeFile(dir, name+".crt", p.certificatePEM); err != nil {
		return err
	}
	return writeFile(dir, name+".key", p.keyPEM)
}

func writeFile(dir, name string, content []byte) error {
	return os.WriteFile(filepath.Join(dir, name), content, 0o600)
}
