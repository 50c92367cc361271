# Independent values for tests/library.rs. Run with numpy: python3 reference.py
import numpy as np
np.set_printoptions(precision=9, linewidth=200)
def ar(*s, k=1): 
    n=int(np.prod(s)); return ((np.arange(n)*k*7 % 11)-5).reshape(s)/4.0
def show(n,a): print(n, [float('%.9g'%v) for v in np.asarray(a).ravel()])
x=ar(1,2,4,5); w=ar(2,2,3,3,k=3); b=ar(2)
def conv(x,w,b,stride,pad):
    B,C,H,W=x.shape; O,_,R,S=w.shape
    xp=np.pad(x,((0,0),(0,0),(pad,pad),(pad,pad)))
    P=(H+2*pad-R)//stride+1; Q=(W+2*pad-S)//stride+1
    y=np.zeros((B,O,P,Q))
    for p in range(P):
        for q in range(Q):
            y[:,:,p,q]=np.einsum('ncrs,ocrs->no',xp[:,:,p*stride:p*stride+R,q*stride:q*stride+S],w)+b
    return y
show('conv',conv(x,w,b,2,1))
wd=ar(2,3,3,k=5)
def dw(x,w,b,pad):
    B,C,H,W=x.shape;xp=np.pad(x,((0,0),(0,0),(pad,pad),(pad,pad)));R=3
    y=np.zeros((B,C,H+2*pad-2,W+2*pad-2))
    for p in range(y.shape[2]):
        for q in range(y.shape[3]): y[:,:,p,q]=(xp[:,:,p:p+3,q:q+3]*w).sum((2,3))+b
    return y
show('dw',dw(x,wd,b,0))
show('max',x[:,:,:4,:4].reshape(1,2,2,2,2,2).max((3,5)))
show('avg',x[:,:,:4,:4].reshape(1,2,2,2,2,2).mean((3,5)))
# attend
q=ar(3,2);k=ar(4,2,k=3);v=ar(4,2,k=5)
a=q@k.T/np.sqrt(2)
m=np.tril(np.ones((3,4)),0)>0
a2=np.where(m,a,-np.inf)
lse=np.log(np.exp(a2).sum(1)); o=np.exp(a2-lse[:,None])@v
show('o',o);show('lse',lse)
# rotate
def rot(x,base,start=0):
    T,C=x.shape[-2:]; h=C//2
    fr=base**(-np.arange(h)/h); ang=np.outer(np.arange(T)+start,fr); c,s=np.cos(ang),np.sin(ang)
    x1,x2=x[...,:h],x[...,h:]
    return np.concatenate([x1*c-x2*s,x2*c+x1*s],-1)
xr=ar(3,4); show('rot',rot(xr,100.0,2))
# gqa: B=1 T=3 D=4 KV=2 G=2 C=2
X=ar(1,3,4);wq=ar(8,4);wk=ar(4,4,k=3);wv=ar(4,4,k=5);wo=ar(4,8,k=2)
Q=(X@wq.T).reshape(1,3,2,2,2).transpose(0,2,3,1,4);K=(X@wk.T).reshape(1,3,2,2).transpose(0,2,1,3);V=(X@wv.T).reshape(1,3,2,2).transpose(0,2,1,3)
Q=rot(Q,10000.0);K=rot(K,10000.0)
A=np.einsum('bkgtc,bksc->bkgts',Q,K)/np.sqrt(2); A=np.where(np.tril(np.ones((3,3)))>0,A,-np.inf)
P=np.exp(A-A.max(-1,keepdims=True));P/=P.sum(-1,keepdims=True)
O=np.einsum('bkgts,bksc->bkgtc',P,V).transpose(0,3,1,2,4).reshape(1,3,8)
show('gqa',O@wo.T)
L=ar(3,4);lab=[1,0,3]
show('ce',np.mean([np.log(np.exp(L[i]).sum())-L[i,lab[i]] for i in range(3)]))
show('bn',(x-b.reshape(1,2,1,1))/np.sqrt(0.5+1e-5)*2+1)
sig=lambda z:1/(1+np.exp(-z))
g=ar(5,4);u=ar(5,4,k=3);d=ar(4,5,k=2);z=X[0]@g.T
show('swiglu',((z*sig(z))*(X[0]@u.T))@d.T)
