package deploy

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// clients are those that Helm asks for, without a folder for what the API server offers: a step has none to write to.
type clients struct {
	config    *rest.Config
	namespace string

	discovery discovery.CachedDiscoveryInterface
}

// ToRESTConfig is Helm's.
func (c *clients) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(c.config), nil }

// ToDiscoveryClient is Helm's.
func (c *clients) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	if c.discovery == nil {
		plain, err := discovery.NewDiscoveryClientForConfig(c.config)
		if err != nil {
			return nil, err
		}
		c.discovery = memory.NewMemCacheClient(plain)
	}
	return c.discovery, nil
}

// ToRESTMapper is Helm's.
func (c *clients) ToRESTMapper() (meta.RESTMapper, error) {
	found, err := c.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	return restmapper.NewDeferredDiscoveryRESTMapper(found), nil
}

// ToRawKubeConfigLoader is Helm's, which asks it for the namespace.
func (c *clients) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(),
		&clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: c.namespace}})
}
